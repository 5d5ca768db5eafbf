"""Faults for tests of stores: killed servers, cut lines, full disks, cancelled calls, wrong clocks; and their judge."""
