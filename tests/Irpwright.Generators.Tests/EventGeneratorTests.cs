using Microsoft.CodeAnalysis;

namespace Irpwright.Generators.Tests;

public sealed class EventGeneratorTests
{
    [Fact]
    public void An_event_reaches_every_observer_that_overrides_its_On()
    {
        object? log = Compiled.From("""
            using Irpwright.Kernel;
            namespace Irpwright.Kernel
            {
                [KernelEvent] public readonly record struct IrpFreed(ulong Irp);
                [KernelEvent] public readonly ref struct DdiCalled;
            }
            public sealed class Recorder : KernelObserver
            {
                public string Log = "";
                public override void On(in IrpFreed e) => Log += e.Irp;
            }
            public static class Probe
            {
                public static string Run()
                {
                    Recorder recorder = new();
                    KernelEvents events = new();
                    events.Emit(new IrpFreed(1));
                    events.Observer = recorder;
                    events.Emit(new IrpFreed(2));
                    events.Emit(new DdiCalled());
                    events.ObserveTwice(recorder);
                    events.Emit(new IrpFreed(3));
                    return recorder.Log;
                }
            }
            """).Load().GetType("Probe")!.GetMethod("Run")!.Invoke(null, null);
        Assert.Equal("233", log);
    }

    [Fact]
    public void Events_are_written_in_order_of_their_names()
    {
        Compiled compiled = Compiled.From("""
            namespace Irpwright.Kernel
            {
                [KernelEvent] public readonly record struct B;
                [KernelEvent] public readonly record struct A;
            }
            """);
        Assert.Contains("""
            public abstract partial class KernelObserver
            {
                /// <inheritdoc cref="T:Irpwright.Kernel.A"/>
                public virtual void On(in global::Irpwright.Kernel.A e) { }

                /// <inheritdoc cref="T:Irpwright.Kernel.B"/>
                public virtual void On(in global::Irpwright.Kernel.B e) { }
            }
            """, compiled.File("KernelEvents.g.cs"), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("[KernelEvent] public record struct Bad(int A);", "it must be a readonly record struct, or a readonly ref struct")]
    [InlineData("[KernelEvent] public readonly struct Bad;", "it must be a readonly record struct, or a readonly ref struct")]
    [InlineData("[KernelEvent] public readonly record struct Bad<T>(T A);", "it must be a non-generic type directly in a namespace")]
    [InlineData("public class Outer { [KernelEvent] public readonly record struct Bad(int A); }", "it must be a non-generic type directly in a namespace")]
    public void An_event_of_another_shape_is_an_error(string declaration, string reason)
    {
        Diagnostic problem = Assert.Single(Compiled.From($"namespace Irpwright.Kernel {{ {declaration} }}").Diagnostics);
        Assert.Equal("IRPW015", problem.Id);
        Assert.Equal($"'Bad' cannot be a kernel event: {reason}", problem.GetMessage());
    }

    [Fact]
    public void Code_that_declares_no_event_generates_nothing_again()
    {
        Compiled compiled = Compiled.From("namespace Irpwright.Kernel { [KernelEvent] public readonly record struct A; }");
        Assert.True(compiled.IsUnchangedBy("class Unrelated;", "Events"));
        Assert.False(compiled.IsUnchangedBy("namespace Irpwright.Kernel { [KernelEvent] public readonly record struct B; }", "Events"));
    }
}
