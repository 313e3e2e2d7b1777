"""The AFD-Module: networks that correct a frozen classifier's stem features."""
