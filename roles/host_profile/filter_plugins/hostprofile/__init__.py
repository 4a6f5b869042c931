"""What is good for a host, one module per noun; host_profile.py hands it to Ansible."""
