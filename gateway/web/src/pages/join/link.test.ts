import { expect, test } from "vitest";
import { inFragment, isLocal, linkOf, serverOf } from "./link";

const SUM = "a".repeat(64);

test("the link carries code and sum in its fragment, and nothing else is taken from one", () => {
  const link = linkOf("https://home.example.org", "ABCDE-FGHIJ", SUM);
  expect(link).toBe(`https://home.example.org/join#ABCDE-FGHIJ.${SUM}`);
  expect(inFragment(new URL(link).hash)).toEqual({ code: "ABCDE-FGHIJ", sha256: SUM });
  expect(inFragment("#ABCDE")).toEqual({ code: "ABCDE", sha256: "" });
  // It is shown as a command for root.
  for (const bad of ["#A;rm -rf /", "#A B", "", "#", "#A.zz"]) expect(inFragment(bad)).toEqual({ code: "", sha256: "" });
});

test("the server is that of the enrolment's link", () => {
  expect(serverOf("nebula://enrol?server=https%3A%2F%2Fhome.example.org&code=X")).toBe("https://home.example.org");
  expect([isLocal("http://127.0.0.1:8080"), isLocal("https://home.example.org")]).toEqual([true, false]);
});
