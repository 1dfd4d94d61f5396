"""Small programs for whoever works on this repository; none of them ships."""
