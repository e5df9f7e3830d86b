"""A bucket on Ceph RGW made ready for a bundle, and looked after: policy, lifecycle, topic, notification."""
