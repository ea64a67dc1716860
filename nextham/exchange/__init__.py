"""Files of other programs: read into systems in house conventions, and written from them."""
