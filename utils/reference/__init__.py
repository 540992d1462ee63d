"""Reference pages of docs/. Settings, the options of commands and records enter; what is drawn of them in marked places of pages
leaves, in English and Chinese."""
