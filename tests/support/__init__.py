"""What several test files share: real sentences, small corpora, the driver, small models. Tests import it as `support`."""
