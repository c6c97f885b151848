import java.io.BufferedReader;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HexFormat;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.MessageUtil;
import org.apache.kafka.common.protocol.Readable;

/**
 * Reads each message of a file of lines "PACKAGES NAME VERSION KIND HEX" with Kafka's own class, writes
 * it again, and says where the bytes differ. KIND is "default" (then they are compared with those of
 * a new instance too) or "drawn". Run by the test `kafka_reads_and_writes_the_same_bytes`.
 */
public class Reread {
    public static void main(String[] args) throws Exception {
        int lines = 0;
        int wrong = 0;
        try (BufferedReader in = Files.newBufferedReader(Path.of(args[0]))) {
            for (String line = in.readLine(); line != null; line = in.readLine()) {
                lines++;
                String[] words = line.split(" ", -1);
                String problem;
                try {
                    problem = check(words);
                } catch (Throwable e) {
                    problem = String.valueOf(e);
                }
                if (problem != null) {
                    wrong++;
                    System.out.println(words[1] + " version " + words[2] + " " + words[3] + ": " + problem);
                }
            }
        }
        System.out.println(lines + " messages, " + wrong + " wrong");
        System.exit(wrong == 0 && lines > 0 ? 0 : 1);
    }

    private static String check(String[] words) throws Exception {
        Class<?> type = find(words[0].split(","), words[1]);
        short version = Short.parseShort(words[2]);
        byte[] bytes = HexFormat.of().parseHex(words[4]);
        ByteBuffer buffer = ByteBuffer.wrap(bytes);
        Message message = (Message) type.getConstructor(Readable.class, short.class)
            .newInstance(new ByteBufferAccessor(buffer), version);
        if (buffer.hasRemaining()) {
            return buffer.remaining() + " bytes are left of " + words[4];
        }
        String back = hex(message, version);
        if (!back.equals(words[4])) {
            return "\n  ours  " + words[4] + "\n  kafka " + back + "\n  " + message;
        }
        if (words[3].equals("default")) {
            Message fresh = (Message) type.getConstructor().newInstance();
            if (!fresh.equals(message)) {
                return "\n  ours  " + message + "\n  kafka " + fresh;
            }
        }
        return null;
    }

    private static String hex(Message message, short version) {
        ByteBuffer back = MessageUtil.toByteBufferAccessor(message, version).buffer();
        byte[] bytes = new byte[back.remaining()];
        back.get(bytes);
        return HexFormat.of().formatHex(bytes);
    }

    private static Class<?> find(String[] packages, String name) throws ClassNotFoundException {
        for (String one : packages) {
            // Requests, responses and their headers have a suffix at Kafka.
            for (String suffix : new String[] {"", "Data"}) {
                try {
                    return Class.forName(one + "." + name + suffix);
                } catch (ClassNotFoundException e) {
                    // The next one, then.
                }
            }
        }
        throw new ClassNotFoundException(name);
    }
}
