export const uploads = {
  title: "Uploads in progress",
  count: (n: number) => (n === 1 ? "1 upload" : `${n} uploads`),
  left: (time: string) => `${time} left`,
  fold: "Fold the list of uploads",
  unfold: "Show the list of uploads",
  dismiss: "Dismiss",
};
