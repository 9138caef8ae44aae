import { ConfigurationError } from '@mcp-blocks/core';

/**
 * Makes something; what is wrong with an option of it is said with the option's place in the file.
 *
 * @param path - where in the file the options are.
 * @param own - how the options are called by what is made, such as `http` in `http.port`.
 */
export function at<T>(path: string, make: () => T, own = ''): T {
  try {
    return make();
  } catch (error) {
    if (!(error instanceof ConfigurationError)) throw error;
    const inside = own !== '' && error.option.startsWith(own) ? error.option.slice(own.length).replace(/^\./, '') : error.option;
    const option = [path, inside]
      .filter((part) => part !== '')
      .join('.')
      .replaceAll('.[', '[');
    throw new ConfigurationError(option, error.message.slice(error.option.length + 2));
  }
}
