"""Does it help gaze estimation?"""
