"""What appears below cells, whenever it comes."""
