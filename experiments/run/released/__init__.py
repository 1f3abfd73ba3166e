"""What the paper's authors released of their study: its files, and its sessions as traces."""
