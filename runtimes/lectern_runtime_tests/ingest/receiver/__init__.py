"""Tests of the receiver of a push source."""
