"""Synthesise, project, mix and edit 3D medical volumes with a StyleGAN."""
