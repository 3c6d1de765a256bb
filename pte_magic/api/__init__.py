"""What users call: functions that return frames, and the classes of what they return."""
