import { expect, it } from "vitest";
import { parseRoute, toHash } from "./route";

it("reads back what it writes, whatever the project is called", () => {
  for (const project of ["home", "Büro 2", "50%/50#?"]) {
    expect(parseRoute(toHash(project, "files"))).toEqual({ project, page: "files" });
  }
});

it.each([
  ["", "", "overview"],
  ["#/home", "home", "overview"],
  ["#/home/nowhere", "home", "overview"],
  ["#/100%/jobs", "100%", "jobs"],
])("takes the nearest sense of %s", (hash, project, page) => expect(parseRoute(hash)).toEqual({ project, page }));
