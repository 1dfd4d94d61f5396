"""Pure decisions: what was observed goes in, a plan and conditions come out."""
