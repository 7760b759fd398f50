"""All pages, plots and the model card."""
