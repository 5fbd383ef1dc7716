"""Closed forms around the network: photometry, triangulation, noise; and how they are learnt."""
