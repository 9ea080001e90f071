import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.util.List;
import org.apache.spark.sql.ForeachWriter;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.execution.streaming.sources.LowLatencyMemoryStream;
import scala.jdk.javaapi.CollectionConverters;

/** Writes each row to a socket as it comes; feeds a stream in memory from another. */
public class SocketRows extends ForeachWriter<Row> {
    private final int port;
    private transient Socket socket;

    public SocketRows(int port) {
        this.port = port;
    }

    @Override
    public boolean open(long partition, long epoch) {
        socket = connect(port);
        return true;
    }

    @Override
    public void process(Row row) {
        try {
            socket.getOutputStream().write(row.mkString("[", ", ", "]\n").getBytes(StandardCharsets.UTF_8));
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }

    @Override
    public void close(Throwable error) {
        try {
            socket.close();
        } catch (IOException failed) {
            throw new UncheckedIOException(failed);
        }
    }

    /** What can be read at once, up to its last line, is one record: one by one they would cost a call each. */
    public static void feed(int port, LowLatencyMemoryStream<String> stream) {
        Socket socket = connect(port);
        Thread thread = new Thread(() -> {
            byte[] buffer = new byte[1 << 20];
            int kept = 0;
            try {
                for (int read; (read = socket.getInputStream().read(buffer, kept, buffer.length - kept)) > 0; ) {
                    int end = kept + read, lines = end;
                    while (lines > 0 && buffer[lines - 1] != '\n') {
                        lines--;
                    }
                    if (lines > 0) {
                        String piece = new String(buffer, 0, lines - 1, StandardCharsets.UTF_8);
                        stream.addData(CollectionConverters.asScala(List.of(piece)));
                    }
                    kept = end - lines;
                    System.arraycopy(buffer, lines, buffer, 0, kept);
                }
            } catch (IOException error) {
                throw new UncheckedIOException(error);
            }
        });
        thread.setDaemon(true);
        thread.start();
    }

    private static Socket connect(int port) {
        try {
            return new Socket("127.0.0.1", port);
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }
}
