"""Where state lives: each port with an embedded and an AWS implementation behind it."""
