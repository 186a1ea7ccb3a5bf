"""What a user writes: catalogues, studies and the settings of a training."""
