namespace Irpwright.Testing;

/// <summary>
/// Marks what <c>irpwright explore</c> and <c>irpwright check</c> run: a public method that takes a <see cref="Kernel.Machine"/> and returns
/// nothing or a Task, or a public class, all such methods of which are meant. Each run gets a new machine and a new instance of the class.
/// A method may take a CheckBench of Irpwright.Checking in place of the machine: then check runs it for the drivers that it checks.
/// </summary>
[AttributeUsage(AttributeTargets.Method | AttributeTargets.Class)]
public sealed class ScenarioAttribute : Attribute;
