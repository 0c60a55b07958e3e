"""The local stack: ``template.yaml`` on one machine, without an AWS account and without Docker."""
