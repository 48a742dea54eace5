"""What a user of the example pages sees, in headless Chromium."""
