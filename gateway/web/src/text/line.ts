/** Whether a text has control characters or line breaks, which could forge further lines of a file. */
export const isUnsafe = (text: string) => /[\p{Cc}\u2028\u2029]/u.test(text);

/** The words of a text, separated by commas or blanks. */
export const words = (text: string) => text.split(/[\s,]+/).filter(Boolean);
