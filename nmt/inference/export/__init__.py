"""Export of a trained run to the format of CTranslate2, a separate program that searches faster."""
