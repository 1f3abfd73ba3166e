"""The site: `make docs` stages the Markdown of docs/ beside pages that are made from the code, and builds it."""
