"""Consent, guard, watermark, Content Credentials, label, ledger, verification."""
