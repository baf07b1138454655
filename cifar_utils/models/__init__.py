"""The networks, their layers and the Muon optimizer."""
