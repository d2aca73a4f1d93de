"""How often does the whole machine find something where there is nothing, and where there is?"""
