"""Measures of similarity and quality."""
