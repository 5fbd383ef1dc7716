"""Does it help hand pose estimation?"""
