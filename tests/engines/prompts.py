"""What every engine of these tests is asked, as token ids."""

PROMPTS = ([1, 5, 9, 17], [1, 200, 30])
TOKENS = 12  # to generate for each
