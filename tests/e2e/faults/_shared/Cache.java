/** Keeps what it is told to keep: MEBIBYTES of it, a MiB every STEP_MS, then waits. */
public class Cache {
    public static void main(String[] words) throws Exception {
        int wanted = Integer.parseInt(System.getenv("MEBIBYTES"));
        long step = Long.parseLong(System.getenv().getOrDefault("STEP_MS", "20"));
        java.util.List<byte[]> kept = new java.util.ArrayList<>();
        System.out.println("cache: warming up, " + wanted + " MiB wanted");
        for (int n = 0; n < wanted; n++) {
            kept.add(new byte[1 << 20]);
            Thread.sleep(step);
        }
        System.out.println("cache: warm");
        Thread.currentThread().join();
    }
}
