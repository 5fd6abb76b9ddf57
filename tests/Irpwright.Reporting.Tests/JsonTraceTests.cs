using System.Reflection;
using System.Text.Json;
using Irpwright.Kernel;
using Irpwright.Testing;

namespace Irpwright.Reporting.Tests;

public class JsonTraceTests
{
    [Fact]
    public void Every_line_is_an_object_with_its_step()
    {
        JsonElement[] lines = TraceOfRead();
        Assert.Equal(Enumerable.Range(1, lines.Length), lines.Select(l => l.GetProperty("step").GetInt32()));
        Assert.All(lines, l => Assert.Matches("^T[0-9]+$", l.GetProperty("thread").GetString()));
    }

    [Fact]
    public void A_forward_tells_request_and_completion_routine()
    {
        JsonElement forward = TraceOfRead().Last(l =>
            l.GetProperty("event").GetString() == "irpForwarded" && l.GetProperty("major").GetString() == "IRP_MJ_READ");
        Assert.Equal("irp#2", forward.GetProperty("irp").GetString());
        Assert.Equal("ramdisk!ReadWrite", forward.GetProperty("routine").GetString());
        Assert.Equal("passthrough#1", forward.GetProperty("sender").GetString());
        Assert.Equal(1024, forward.GetProperty("offset").GetInt64());
        Assert.Equal(512, forward.GetProperty("length").GetInt64());
        Assert.Equal("passthrough!ForwardDone", forward.GetProperty("completionRoutine").GetString());
        Assert.Equal(["success", "error", "cancel"], forward.GetProperty("invokeOn").EnumerateArray().Select(e => e.GetString()));
        Assert.False(forward.GetProperty("markedPending").GetBoolean());
    }

    [Fact]
    public void No_address_appears()
    {
        Assert.All(TraceOfRead(), l => Assert.DoesNotMatch("ffffa[01][0-9a-f]{2}`?[0-9a-f]{8}", l.ToString()));
    }

    [Fact]
    public void Every_event_of_the_kernel_is_traced_and_documented()
    {
        string document = File.ReadAllText(TestFiles.Document("trace-json.md"));
        MethodInfo[] all = [.. typeof(KernelObserver).GetMethods().Where(m => m.Name == "On")];
        Assert.NotEmpty(all);
        foreach (Type e in all.Select(m => m.GetParameters()[0].ParameterType.GetElementType()!))
        {
            MethodInfo? traced = typeof(JsonTrace).GetMethod("On", [e.MakeByRefType()]);
            Assert.True(traced?.DeclaringType == typeof(JsonTrace), $"JsonTrace does not write {e.Name}.");
            Assert.Contains($"`{char.ToLowerInvariant(e.Name[0])}{e.Name[1..]}`", document, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void Every_field_is_documented()
    {
        string document = File.ReadAllText(TestFiles.Document("trace-json.md"));
        foreach (PropertyInfo field in typeof(TraceRecord).GetProperties(BindingFlags.Public | BindingFlags.Instance))
            Assert.Contains($"`{char.ToLowerInvariant(field.Name[0])}{field.Name[1..]}`", document, StringComparison.Ordinal);
    }

    static JsonElement[] TraceOfRead()
    {
        using Stack stack = new Stack(new RamDisk(4096), @"\Device\RamDisk0").With(new PassThrough())
            .Use(handle => handle.Read(new byte[512], 1024));
        return [.. stack.Json.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(line => JsonDocument.Parse(line).RootElement)];
    }
}
