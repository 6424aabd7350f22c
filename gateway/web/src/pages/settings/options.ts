// The options of a project as a form has them, and what of them was changed.
import type { ProjectOptions } from "../../api/types";

const DAY = 86_400;

export interface OptionForm {
  mtu: string;
  dnsDomain: string;
  dnsPort: string;
  days: string;
  punchy: boolean;
  memberReach: "overlay" | "internet";
}

const text = (value: number | string | null | undefined) => (value == null ? "" : String(value));

export const formOf = (options: ProjectOptions): OptionForm => ({
  mtu: text(options.mtu),
  dnsDomain: text(options.dnsDomain),
  dnsPort: text(options.dnsPort),
  days: options.lifetimeSeconds ? String(Math.round(options.lifetimeSeconds / DAY)) : "",
  punchy: options.punchy ?? false,
  memberReach: options.memberReach ?? "overlay",
});

/** The options that differ; an empty one is unset by 0 or an empty text. */
export function changesOf(form: OptionForm, before: OptionForm): Partial<ProjectOptions> {
  const changed = (name: keyof OptionForm) => form[name] !== before[name];
  return {
    ...(changed("mtu") && { mtu: Number(form.mtu) }),
    ...(changed("dnsDomain") && { dnsDomain: form.dnsDomain.trim() }),
    ...(changed("dnsPort") && { dnsPort: Number(form.dnsPort) }),
    ...(changed("days") && { lifetimeSeconds: Number(form.days) * DAY }),
    ...(changed("punchy") && { punchy: form.punchy }),
    ...(changed("memberReach") && { memberReach: form.memberReach }),
  };
}
