// Addresses of the pictures of a file. An `<img>` and a `<track>` cannot sign in; the token of any link to the file lets them in.

/** For a link to a file (`/api/files/ID/…?token=…`), the address of a picture of that file by its name. */
export function pictureBy(link: string): (name: string) => string {
  const [, file = "", token = ""] = link.match(/^(\/api\/files\/[^/]+)\/.*[?&]token=([^&]+)/) ?? [];
  return (name) => (token ? `${file}/${name}?token=${token}` : "");
}
