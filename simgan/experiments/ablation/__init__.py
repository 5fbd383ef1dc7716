"""What does each part of the recipe add?"""
