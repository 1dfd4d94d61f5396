"""The operator against a real API server and real controllers, with doubles for kubelet and KEDA."""
