"""Where weights live first: the adapters of ``ports.Origin``. They do not retry and do not decide.

Reading order: ``admission`` (whose pipelines may use what) · ``open`` (from a model's source to
its adapter) · ``settings`` and ``credentials`` (what the operator configured) · ``discreet`` (no
secret in an error) · ``directory`` (file://, the simplest one) with ``grounds`` (where it may
really lie) · ``s3`` with ``s3_session`` (boto3's HTTP) · ``huggingface`` (hf://) with
``hub_session`` (metadata through huggingface_hub, one attempt) and ``locations`` (where the hub's
redirects lead) · ``question`` (what a listing may bring). Bytes of hf:// come through our own
client: ``ranged_http`` (one GET, redirects included) · ``redirects`` (which may be followed) ·
``connections`` (keep-alive and time limits) · ``dialling`` (which address) · ``answers`` (from
statuses and headers to errors). ``spans`` cuts exactly one span out of whatever an origin sends.
"""
