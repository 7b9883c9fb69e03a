"""Terms under which more than one trace comes."""

ALIBABA = "Alibaba Cluster Trace Program: free for research or study"
