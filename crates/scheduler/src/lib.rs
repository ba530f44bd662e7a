//! One run: plan, step, retry, pools, recovery.
