"""What is stored, as frozen data: from items and to items."""
