"""What the notebooks ask of finished campaigns, jobs and live runs: frames, figures, sentences."""
