"""The Space: builds `simgan.demo` and launches it."""

from simgan.demo import build, launch

demo = build()

if __name__ == "__main__":
    launch(demo)
