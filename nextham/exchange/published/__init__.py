"""Files of the published NextHAM code (``.pth``), as its dataset is distributed, to systems in house conventions."""
