import { ref } from "vue";
import { Failure } from "../api/failure";

/** One piece of work at a time: whether it runs, and why it failed last. */
export function useTask() {
  const busy = ref(false);
  const failure = ref<Failure | null>(null);

  /** Whether the work was done; if not, `failure` says why. */
  async function run(work: () => Promise<void>): Promise<boolean> {
    busy.value = true;
    failure.value = null;
    try {
      await work();
      return true;
    } catch (thrown) {
      failure.value = Failure.from(thrown);
      return false;
    } finally {
      busy.value = false;
    }
  }

  return { busy, failure, run };
}
