"""Hedra's v3 API: its endpoints and their answers, HTTP only."""
