"""Retention: what of a bundle may go, decided purely; the signed cut; then one removal after the other."""
