from support.s3fixtures import moto, s3_site

__all__ = ["moto", "s3_site"]
